@containers @gate
Feature: Rolling back by switching the proxy from green to blue

  Half of the instances are blue and keep the old release; the new one is deployed to green, and users are sent there in
  one go. To go back is to send them to blue. That takes an instant; green gets the old release afterwards.

  Background:
    Given the service "stall"
    And 40 journeys per second by 20 users

  Scenario: Users are back on blue at once
    When release "v2-misprints-green" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
