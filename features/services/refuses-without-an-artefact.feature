@services @gate
Feature: A plan that has nothing to go back to stops before it changes anything

  Whoever deployed v2-swept-out threw away what ran before, to make room. The first instance that is taken out of service to get
  it back would not come up again, so the plan asks first.

  Background:
    Given the service "cafe"
    And 20 journeys per second by 20 users

  Scenario: The plan refuses and changes nothing
    When release "v2-swept-out" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by its plan
    Then the plan refuses because "artefact"
