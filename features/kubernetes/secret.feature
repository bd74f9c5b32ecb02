@kubernetes @gate
Feature: Rolling back a change of a Secret alone

  The key of the till was changed and lost its end. The old Secret is applied, and new pods read it.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The key of before comes back
    When release "v2-short-key" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
