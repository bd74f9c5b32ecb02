@infrastructure @opentofu
Feature: Rolling back infrastructure from version control

  v2-misprints is a commit to a configuration of OpenTofu, which was applied. The rollback takes the commit back and applies
  what is committed then, with the state that there is.

  Background:
    Given the service "buffet"
    And 40 journeys per second by 20 users

  Scenario: The plan applies the previous configuration
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 2 minutes
